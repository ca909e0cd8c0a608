// Reads rules of a NodeFeatureRule and the features of nodes as JSON, and prints for each node the labels and extended
// resources that it gets.
package main

import (
	"encoding/json"
	"log"
	"maps"
	"os"

	nfd "sigs.k8s.io/node-feature-discovery/api/nfd/v1alpha1"
	"sigs.k8s.io/node-feature-discovery/pkg/apis/nfd/nodefeaturerule"
)

type question struct {
	Rules []nfd.Rule     `json:"rules"`
	Nodes []nfd.Features `json:"nodes"`
}

type answer struct {
	Labels            map[string]string `json:"labels"`
	ExtendedResources map[string]string `json:"extendedResources"`
}

func main() {
	var asked question
	reader := json.NewDecoder(os.Stdin)
	reader.DisallowUnknownFields()
	if err := reader.Decode(&asked); err != nil {
		log.Fatal(err)
	}
	answers := make([]answer, 0, len(asked.Nodes))
	for index := range asked.Nodes {
		answers = append(answers, judged(asked.Rules, &asked.Nodes[index]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// judged does what NFD's master does with all rules of an object, one after the other.
func judged(rules []nfd.Rule, features *nfd.Features) answer {
	all := answer{map[string]string{}, map[string]string{}}
	for index := range rules {
		out, err := nodefeaturerule.Execute(&rules[index], features, true)
		if err != nil {
			log.Fatalf("%s: %v", rules[index].Name, err)
		}
		maps.Copy(all.Labels, out.Labels)
		maps.Copy(all.ExtendedResources, out.ExtendedResources)
	}
	return all
}
