"""An embedded model and its server, for demonstrations and tests.

The model is a micro Qwen2.5-VL that learned the *shapes* benchmark (``model/README.md``); the
server speaks the OpenAI protocol and runs it on the CPU with onnxruntime. Servers of different
*variants* differ as deployments differ in life: precision, threads, batches, and faults planted by
name. It is no serving engine: it is small, and meant to be looked through.
"""
