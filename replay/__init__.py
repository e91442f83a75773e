"""History: files and tables in, verdicts out; and the command line over all of it."""

import os

# The models' matrices are small: threads cost more than they save, and two that wait for each other
# on a busy machine cost ten times as much. It must be said before numpy is first imported.
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
