"""The commands ``tdsec`` and ``tdse``: they parse and print; the library does the work."""
