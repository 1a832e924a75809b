// Package client invokes operations on the group of replicas: it authenticates a request, sends it, collects a quorum of
// matching replies, and sends again until there is one (TOCS §4.2, §5). NFS front ends call Invoke; its shape is that of
// nfs.Backend.
//
// It trusts no replica by itself. A result is believed when 2f+1 replicas vouch for its digest; the view, when f+1 do.
//
// It does not know what operations mean, nor how frames travel: it is given a function to send them, and hands received
// ones to Receive. Dial puts it on TLS links.
//
// Start reading at Client.Invoke (client.go); call.go is the life of one call, votes.go what makes a result believed.
package client
