"""The workshop: ten lessons with blanks, a judge that knows the usual mistakes, and every layer of the library an exercise.

In a terminal `python -m pancake.workshop new FOLDER` writes the lessons, and `python -m pancake.workshop check FOLDER` judges
them. In a notebook `judge(Linear)` judges a class or function where it stands, and `yours("Linear")` takes it from an earlier
lesson.
"""

from pancake.workshop.exercises import judge, yours

__all__ = ["judge", "yours"]
