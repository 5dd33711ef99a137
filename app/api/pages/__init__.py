"""The web pages: server-rendered, complete without scripts; they use only what the API offers."""
