"""The LLM behind HTTP: two wire formats, several servers, and what happens when they are busy or away."""
