"""The assistant: a conversation in, a reply out, and the receipt that gives it again."""
