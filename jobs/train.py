"""What `ray job submit` runs to carry out a recipe.

ray job submit --working-dir . -- python jobs/train.py --config configs/smoke.json --output-dir runs/smoke
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the submitted working directory

from rayplay.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
