"""One model, trained by several processes that have a part of the data each: `mpiexec -n 4 python train.py`.

Every process ("rank") makes the same model and has its own rows. In each step the gradients of all ranks become that of the
joined batch, in one Allreduce, and so all ranks make the same step. This folder is all that knows of MPI; what optimizers and
`fit` ask of it stands in `pancake/optimizers/ranks.py`.
"""

from pancake.mpi.parallel import data_parallel

__all__ = ["data_parallel"]
