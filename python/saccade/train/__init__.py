"""What trains networks: losses, the update rule, schedules, regularisation, Lightning modules."""

__all__: list[str] = []
