"""Engines that compute elsewhere: servers, their dialects, and what is believed of them."""
