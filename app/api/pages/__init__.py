"""The status pages: server-rendered, complete without scripts. They ask for nothing that the API does not offer."""
