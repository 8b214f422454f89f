"""The client side of eggroll, in miniature. Images put it in eggroll/api, where eggroll is a namespace package."""
VERSION = "1.1"
