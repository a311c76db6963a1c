"""The report that a person looks at: one HTML file with everything inside."""

from tdse.report.write import REPORT, Written, write_report

__all__ = ["REPORT", "Written", "write_report"]
