"""OpenVINO as a target of tdse, found through entry points as any other package's would be.

It uses only what tdse offers to such packages: ``tdse.errors``, ``tdse.graph``, ``tdse.targets``.
"""
