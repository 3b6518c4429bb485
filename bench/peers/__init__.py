"""The workloads in other libraries, each in its strongest form, beside bpfast.

A peer is a class ``Peer(workload, X, y, layers, threads)`` that trains a float32 net with Adam at a rate of 1e-3,
each batch of rows gathered from X (rows, n_in) and y.  layers is [(weight (n_in, n_out), bias (n_out,)), ...].

    version         of its library
    ready(orders)   go back to the layers given, with fresh moments; the epochs to come take the rows in these orders
                    (epochs, rows).  Not timed, and so a peer that shuffles by itself does more.
    train()         these epochs.  Timed.
    layers()        what has been learned

A module loads nothing but its library and NumPy, so that a cold start is that of the library.
"""

PEERS = {  # name -> its class
    "bpfast": "fit:Bpfast",
    "bpfast-numba": "fit:Numba",
    "numpy": "preallocated:Numpy",
    "scikit-learn": "scikit:ScikitLearn",
    "torch": "pytorch:Eager",
    "torch-fused": "pytorch:Fused",
    "torch-compile": "pytorch:Compiled",
    "jax": "xla:Jax",
}
