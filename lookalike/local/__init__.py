"""How it runs on one machine: the workspace, the runs, the demo. `kubeflow/` is its sibling for a cluster."""
