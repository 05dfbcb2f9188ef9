"""The HTTP side: Text Generation Inference's API, and OpenAI's completions."""
