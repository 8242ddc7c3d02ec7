"""The demo: plays a year of subscribers through HTTP, tells it, and checks every date, amount and count.

It imports nothing of Dunlin. What it knows is three addresses: the API, the sandbox gateway, the mail sink.
"""
