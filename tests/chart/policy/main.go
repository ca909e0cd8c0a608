// Reads a ValidatingAdmissionPolicy and updates of nodes as JSON, and prints for each update why the API server would
// refuse it: a list of messages, empty where it is allowed.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

type update struct {
	User   string              `json:"user"`
	Extra  map[string][]string `json:"extra"`
	Before core.Node           `json:"before"`
	After  core.Node           `json:"after"`
}

type question struct {
	Policy  admissionregistration.ValidatingAdmissionPolicy `json:"policy"`
	Updates []update                                        `json:"updates"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	judge := compiled(&asked.Policy)
	answers := make([][]string, 0, len(asked.Updates))
	for index := range asked.Updates {
		answers = append(answers, refusals(judge, &asked.Updates[index]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// compiled does what the API server does with a policy when it is created.
func compiled(policy *admissionregistration.ValidatingAdmissionPolicy) validating.Validator {
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		log.Fatal(err)
	}
	options, mode := cel.OptionalVariableDeclarations{}, environment.StoredExpressions
	for _, each := range policy.Spec.Variables {
		compiler.CompileAndStoreVariable(&validating.Variable{Name: each.Name, Expression: each.Expression}, options, mode)
	}
	conditions := make([]cel.ExpressionAccessor, 0, len(policy.Spec.MatchConditions))
	for _, each := range policy.Spec.MatchConditions {
		conditions = append(conditions, &matchconditions.MatchCondition{Name: each.Name, Expression: each.Expression})
	}
	validations := make([]cel.ExpressionAccessor, 0, len(policy.Spec.Validations))
	for _, each := range policy.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{
			Expression: each.Expression, Message: each.Message, Reason: each.Reason,
		})
	}
	failure := policy.Spec.FailurePolicy
	return validating.NewValidator(
		compiler.CompileCondition(validations, options, mode),
		matchconditions.NewMatcher(compiler.CompileCondition(conditions, options, mode), failure, "policy", "validate", policy.Name),
		compiler.CompileCondition(nil, options, mode),
		compiler.CompileCondition(make([]cel.ExpressionAccessor, len(validations)), options, mode),
		failure,
		nil,
	)
}

func refusals(judge validating.Validator, asked *update) []string {
	kind, resource := core.SchemeGroupVersion.WithKind("Node"), core.SchemeGroupVersion.WithResource("nodes")
	who := &user.DefaultInfo{Name: asked.User, Extra: asked.Extra}
	attributes := admission.NewAttributesRecord(
		&asked.After, &asked.Before, kind, "", asked.After.Name, resource, "", admission.Update, &meta.UpdateOptions{}, false, who,
	)
	versioned := &admission.VersionedAttributes{
		Attributes: attributes, VersionedKind: kind, VersionedObject: &asked.After, VersionedOldObject: &asked.Before,
	}
	result := judge.Validate(context.Background(), resource, versioned, nil, nil, celconfig.RuntimeCELCostBudget, nil)
	messages := []string{}
	for _, each := range result.Decisions {
		if each.Action == validating.ActionDeny {
			messages = append(messages, each.Message)
		}
	}
	return messages
}
