"""The APIs of others that this program speaks: OpenAI's, TGI's, and the index of sources."""
