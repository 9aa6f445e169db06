"""A look into networks: receptive fields, filters, feature maps."""

__all__: list[str] = []
