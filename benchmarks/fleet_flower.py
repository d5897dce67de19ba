"""The same rounds by Flower: run by benchmarks/fleet.py with a Python that has flwr[simulation].

    python benchmarks/fleet_flower.py CLIENTS ROUNDS

FedAvg of 16 numbers, each client a step towards its own mark: less work than a circuit's update.
"""

import json
import os
import sys
from typing import Any

import numpy as np

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def main() -> None:
    clients, rounds = int(sys.argv[1]), int(sys.argv[2])
    import flwr
    from flwr.client import ClientApp, NumPyClient
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.simulation import run_simulation

    class Client(NumPyClient):
        def __init__(self, number: int) -> None:
            self.mark = np.random.default_rng(number).normal(size=16).astype(np.float32)

        def fit(self, parameters: Any, _config: Any) -> tuple[list[Any], int, dict[str, Any]]:
            return [parameters[0] - 0.1 * (parameters[0] - self.mark)], 1, {}

    def client(context):  # noqa: ANN001, ANN202
        return Client(int(context.node_config["partition-id"])).to_client()

    def server(_context):  # noqa: ANN001, ANN202
        first = ndarrays_to_parameters([np.zeros(16, np.float32)])
        strategy = FedAvg(
            fraction_evaluate=0.0,
            min_fit_clients=clients,
            min_available_clients=clients,
            initial_parameters=first,
        )
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    run_simulation(
        ServerApp(server_fn=server),
        ClientApp(client_fn=client),
        num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}},
    )
    print(json.dumps({"flwr": flwr.__version__, "updates": clients * rounds}))


if __name__ == "__main__":
    main()
