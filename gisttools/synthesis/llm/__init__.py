"""The LLM client: requests to an OpenAI-compatible endpoint, live or in batches, within a budget, from a cache."""
