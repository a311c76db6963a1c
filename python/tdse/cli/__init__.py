"""The commands ``tdsec`` and ``tdse``: they read the arguments and print; the library does the work."""
