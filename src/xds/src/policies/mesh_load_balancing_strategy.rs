//! MeshLoadBalancingStrategy: which endpoint gets a request.
