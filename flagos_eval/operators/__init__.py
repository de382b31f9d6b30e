"""Which of FlagGems' operators a server is to use, and which it really used.

`selection` reads what a user asks for, `installed` what FlagGems an interpreter has, `switch` turns
both into variables of the server, `_hook` runs inside of it, `evidence` reads what it wrote."""
