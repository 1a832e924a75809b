// Package tree is a canonical copy-on-write Merkle tree from 16-byte keys to values of up to a page: the one structure
// that gives a replicated state its O(1) snapshots and rollback, its digest at the cost of what changed, and its transfer
// page by page with proof (TOCS §6.2, whose partition tree this replaces; unlike that one its shape follows the content).
//
// # Shape
//
// A radix tree over the key's 32 nibbles whose shape is a function of the pairs it holds, never of the order in which
// they came. Of the pairs below a prefix:
//
//   - none: no node;
//   - exactly one, or several whose encodings total at most [leafMax] bytes: one leaf that holds them all, sorted;
//   - otherwise: one inner node at the pairs' longest common prefix, with a child per next nibble that occurs.
//
// So equal contents have equal roots, which is what lets a restored, repaired or rolled-back replica be compared by 32
// bytes.
//
// # Copy-on-write
//
// Every node carries the epoch in which it was made. The writer changes nodes of its own epoch in place and copies all
// others; taking a snapshot hands out the root and begins an epoch. Nodes of past epochs never change but for their
// cached digest, which is set atomically, so snapshots may be read and hashed on other goroutines while the writer goes
// on. Memory is freed by the garbage collector once no snapshot holds it; leaves hold no pointers but to their bytes, and
// those bytes are not scanned.
//
// The package does not know what the pairs mean. Start reading at [Tree], then [node].
package tree
