"""The segmenter as replicas of a Ray Serve deployment, and the client that drives them through a handle.

client.py    a Segmenter: id first, pixels when asked for, once more when a replica dies
calls.py     one call to a replica, with Ray's errors made ours
wire.py      what goes over
replica.py   what runs in a replica: the in-process pool (no Ray in here, or above)
app.py       the deployment, for `serve run` and for us
cluster.py   a connection to a cluster, and the application on it
local.py     a cluster of this machine alone, where no address is given; head.py is its process
"""
