"""Views of a dataset for the trainers and libraries people already have.

>>> report = export_dataset(Path("out/caseops"), "parameter-golf", Path("out/golf"))
>>> report.files[0].name
'datasets/fineweb10B_sp8192/fineweb_train_000000.bin'
"""

from tokenlab.export.layouts import LAYOUTS, Layout
from tokenlab.export.record import ExportedFile, ExportReport
from tokenlab.export.run import export_dataset

__all__ = ["LAYOUTS", "ExportReport", "ExportedFile", "Layout", "export_dataset"]
