"""Who may ask, how much and how often: everything between the socket and the routes."""
