"""The hands of the workflows: activities that call gateways and notifiers and write the books."""
