"""The smallest worker, in Python: main.go beside it says what it does.

It needs the packages grpcio and grpcio-tools. Generate the client once, in the
root of the source tree (make third_party/proto fetches what the protos import):

    pip install grpcio grpcio-tools
    make third_party/proto
    python -m grpc_tools.protoc -I proto -I third_party/proto \
        --python_out=examples/hello --grpc_python_out=examples/hello \
        flovyn/v1/flovyn.proto buf/validate/validate.proto

    export FLOVYN_GRPC_SERVER_URL=http://127.0.0.1:9090 FLOVYN_WORKER_TOKEN=... FLOVYN_ORG_ID=...
    python examples/hello/hello.py
    flovyn task create hello --input '"Ada"'
"""

import json
import os
import threading
import time
from urllib.parse import urlsplit

import grpc

from flovyn.v1 import flovyn_pb2 as pb
from flovyn.v1 import flovyn_pb2_grpc as rpc

KIND, QUEUE = "hello", "default"
HOLD = 30  # seconds that the server may keep a poll waiting for work
ALIVE = 30  # seconds between two signs of life


def connect(address: str) -> grpc.Channel:
    """An https address is encrypted; http is for this machine."""
    url = urlsplit(address)
    port = url.port or (443 if url.scheme == "https" else 80)
    target = f"{url.hostname}:{port}"
    if url.scheme == "https":
        return grpc.secure_channel(target, grpc.ssl_channel_credentials())
    return grpc.insecure_channel(target)


def hello(data: bytes) -> bytes:
    """The work: JSON in, JSON out."""
    name = json.loads(data)
    if not isinstance(name, str):
        raise ValueError('the input of hello is a name, such as "Ada"')
    return json.dumps(f"Hello, {name}!").encode()


def main() -> None:
    env = os.environ
    org = env["FLOVYN_ORG_ID"]
    token = env.get("FLOVYN_WORKER_TOKEN") or env["FLOVYN_API_KEY"]
    auth = (("authorization", f"Bearer {token}"),)
    channel = connect(env.get("FLOVYN_GRPC_SERVER_URL", "http://localhost:9090"))
    tasks, workers = rpc.TaskExecutionStub(channel), rpc.WorkerLifecycleStub(channel)

    worker = workers.RegisterWorker(
        pb.WorkerRegistrationRequest(
            worker_name="hello-py", worker_version="1.0.0", worker_type="TASK", org_id=org,
            tasks=[pb.TaskCapability(kind=KIND, name="Hello")],
        ),
        metadata=auth,
    ).worker_id
    print("worker", worker, "waits for tasks of the kind", KIND, flush=True)

    def stay_alive() -> None:
        while True:
            time.sleep(ALIVE)
            try:
                workers.SendHeartbeat(pb.WorkerHeartbeatRequest(worker_id=worker), metadata=auth)
            except grpc.RpcError:
                pass  # the next one may get through

    threading.Thread(target=stay_alive, daemon=True).start()
    while True:
        try:
            answer = tasks.PollTask(
                pb.PollTaskRequest(worker_id=worker, org_id=org, queue=QUEUE, timeout_seconds=HOLD),
                metadata=auth, timeout=HOLD + 10,
            )
            if not answer.HasField("task"):
                continue
            task = answer.task
            try:
                output = hello(task.input)
            except ValueError as error:
                tasks.FailTask(pb.FailTaskRequest(task_execution_id=task.task_execution_id, error=str(error)), metadata=auth)
                continue
            tasks.CompleteTask(pb.CompleteTaskRequest(task_execution_id=task.task_execution_id, output=output), metadata=auth)
            print("task", task.task_execution_id, output.decode(), flush=True)
        except grpc.RpcError as error:
            print("trying again:", error.details(), flush=True)
            time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
