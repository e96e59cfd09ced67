package cluster

import (
	"context"
	"fmt"
	"slices"
)

// cutOffTable is the table of nftables that CutOff makes in a node's network.
const cutOffTable = "test-cut-off"

// cutOffRules drop a pod's packets to the apiserver, by its Service before the
// address is translated, or directly; and the apiserver's packets to the pod, which
// start on node-1 and are forwarded on the others. Everything else passes: the pod's
// probes, and the connections on which it is called.
const cutOffRules = `
table ip ` + cutOffTable + ` {
	chain to-apiserver {
		type filter hook prerouting priority raw;
		ip saddr %[1]s ip daddr { %[2]s, %[3]s } tcp dport { 443, %[4]s } drop
	}
	chain forwarded {
		type filter hook forward priority filter;
		ip saddr %[3]s ip daddr %[1]s tcp sport %[4]s drop
	}
	chain sent {
		type filter hook output priority filter;
		ip saddr %[3]s ip daddr %[1]s tcp sport %[4]s drop
	}
}
`

// CutOff takes the apiserver away from one pod: packets in both directions are
// dropped, as by a broken network. One pod of a node can be cut off at a time.
func (c *Cluster) CutOff(ctx context.Context, node, podIP string) error {
	return c.nft(ctx, node, fmt.Sprintf(cutOffRules, podIP, apiServiceIP, controlPlaneIP, apiserverPort), "-f", "-")
}

// isolateRules drop every packet that comes to a node or leaves it. What stays within it passes.
const isolateRules = `
table ip ` + cutOffTable + ` {
	chain in {
		type filter hook prerouting priority raw;
		iifname "eth0" drop
	}
	chain out {
		type filter hook postrouting priority raw;
		oifname "eth0" drop
	}
}
`

// Isolate takes the network away from a node: packets in both directions are dropped, as by a broken switch. Not node-1, on which
// the control plane is.
func (c *Cluster) Isolate(ctx context.Context, node string) error {
	return c.nft(ctx, node, isolateRules, "-f", "-")
}

// Reconnect undoes CutOff on a node where a pod is cut off, and Isolate.
func (c *Cluster) Reconnect(ctx context.Context, node string) error {
	return c.nft(ctx, node, "", "delete", "table", "ip", cutOffTable)
}

func (c *Cluster) nft(ctx context.Context, node, rules string, args ...string) error {
	argv := slices.Concat(c.Enter(node), []string{"nft"}, args)
	_, err := run(ctx, rules, argv[0], argv[1:]...)
	return err
}
