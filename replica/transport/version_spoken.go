//go:build !bfsd_protocol_1_2 && !bfsd_protocol_2

package transport

// What this release speaks. Raise newest with any change of what goes over links, and oldest when the code for an old version
// goes, at the earliest one release later: so that members of two releases in a row understand each other.
const (
	oldest = 1
	newest = 1
)
