"""Adding up tensors of all processes as one would in Python: `together_peer.py NUMBERS ROUNDS`, started as torchrun starts it."""

import json
import statistics
import sys
import time

import torch
import torch.distributed

WARM_UP = 5
n, rounds = (int(argument) for argument in sys.argv[1:])
torch.distributed.init_process_group("gloo")
numbers = torch.ones(n)
seconds = []
for _ in range(WARM_UP + rounds):
    begun = time.perf_counter()
    torch.distributed.all_reduce(numbers)
    seconds.append(time.perf_counter() - begun)
if torch.distributed.get_rank() == 0:
    print(json.dumps({"seconds": statistics.median(seconds[WARM_UP:])}))
torch.distributed.destroy_process_group()
