// Package statuspage is the page on which a person watches a cluster: its replicas side by side, the messages of one
// request on their way, load, and what went wrong when. Every replica and every gateway serves it. The process that serves it
// asks the replicas at their status addresses while somebody looks, so a browser needs to reach one address only.
//
// All that is shown is the word of whoever said it, and a faulty replica says what it likes: answers are bounded, and text goes
// into the page as text. The page changes nothing, and loads nothing from elsewhere.
//
// It knows nothing of NFS, nor how the process that serves it works. Start reading at page.go for what is served, at
// picture.go for how the answers become one picture.
package statuspage
