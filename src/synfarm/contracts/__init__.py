"""The contracts that all parts of synfarm share. Loading this package loads pydantic and nothing else beyond Python."""
