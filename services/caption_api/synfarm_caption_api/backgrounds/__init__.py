"""Settings for a concept, asked of the LLM as a list and cleaned (method: the paper asks GPT-4 for 100 a class).

A base model is asked: it goes on with a list that it is shown, so the prompt holds lists of other things, and each line
names its thing again. A small model that lists places alone drifts from them to things within a few lines; one that
writes 'a kettle on a stove', 'a kettle in a kitchen' stays with the kettle, and each line says 'in' or 'on' what it is.
"""
