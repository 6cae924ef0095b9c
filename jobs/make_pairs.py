"""What `ray job submit` runs to pair the sealed trajectories of a run.

ray job submit --working-dir . -- python jobs/make_pairs.py runs/sampled --json
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the submitted working directory

from rayplay.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["pairs"]
    main()
