// Command report makes one HTML page of what the benchmarks measured: tables, plots, and the paper's figures beside ours.
//
// It reads the files that bench/andrew, bench/null and bench/wan write (DIR/summary.json) and knows nothing else of them. The
// page needs no other file and no network.
//
// Start reading at main.go; read.go says what is taken from the files, andrew.go, null.go and wan.go make a section of each,
// chart.go draws, page.html is the page.
package main
