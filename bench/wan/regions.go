package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// source says where the round-trip times are from.
const source = "Azure network round-trip latency statistics, 95th percentile of the 30 days to 2026-07-30, between the regions of one provider " +
	"(MicrosoftDocs/azure-docs, articles/networking/azure-network-latency.md); half a millisecond inside a region is an assumption"

// regions are where replicas and clients are, in the order in which groups take them.
var regions = []string{
	"East US", "West US 2", "West Europe", "Japan East", "Brazil South", "Southeast Asia", "UK South",
	"Central India", "Australia East", "Canada Central", "South Africa North", "Central US", "France Central",
}

// roundTrips are in milliseconds, from each region to those after it. They are measured in both directions and differ by a few;
// these are from the first-named.
var roundTrips = [][]int{
	{75, 89, 165, 119, 229, 80, 214, 207, 22, 226, 35, 90},
	{147, 102, 179, 165, 144, 218, 179, 69, 284, 41, 153},
	{240, 189, 182, 13, 153, 282, 93, 171, 114, 15},
	{275, 74, 237, 129, 105, 165, 254, 139, 245},
	{337, 184, 320, 298, 133, 327, 155, 193},
	{183, 58, 98, 226, 190, 201, 175},
	{151, 277, 84, 169, 112, 13},
	{152, 216, 134, 245, 147},
	{207, 347, 178, 280},
	{236, 35, 92},
	{251, 165},
	{120},
}

// inside is the delay of a message inside a region.
const inside = 250 * time.Microsecond

// delay is that of a message from one region to another, by their places in regions.
func delay(a, b int) time.Duration {
	if a == b {
		return inside
	}
	a, b = min(a, b), max(a, b)
	return time.Duration(roundTrips[a][b-a-1]) * time.Millisecond / 2
}

// places are the regions of a group of n, the primary's first.
func places(n int, primary string) (order []int, err error) {
	first := slices.IndexFunc(regions, func(name string) bool { return strings.EqualFold(name, primary) })
	if first < 0 || first >= n {
		return nil, fmt.Errorf("the primary of a group of %d is in one of its regions, which are %s; not %q", n, strings.Join(regions[:n], ", "), primary)
	}
	order = append(order, first)
	for i := range n {
		if i != first {
			order = append(order, i)
		}
	}
	return order, nil
}

// delays is the matrix of a group.
func delays(order []int) [][]time.Duration {
	matrix := make([][]time.Duration, len(order))
	for a, from := range order {
		for _, to := range order {
			matrix[a] = append(matrix[a], delay(from, to))
		}
	}
	return matrix
}
