// Package config is cluster.toml: the public description of one cluster that every replica, gateway and administrator
// holds the same copy of. It says who the members are (addresses, public keys) and what they must agree on (limits,
// seed, tunables). It holds no secrets: private keys are in key files (package auth).
//
// It does not know what the values are for, beyond the ranges in which they make sense.
//
// Start reading at Cluster; Load reads it from a file, Generate makes a new one.
package config
