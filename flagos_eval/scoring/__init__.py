"""Rules from a text to a value, one module per kind of answer: pure, and never raising."""
