from registries import mmdet_scope

__all__ = ["mmdet_scope"]
