-- The measurement bridge (arXiv 2606.00329, Section 3): the obstruction holds for whatever a map
-- into a preorder measures. That the map means anything for data is an assumption, not a theorem.
prelude

universe u v

inductive Absurd : Prop

theorem bridge (S : Type u) (P : Type v) (le : P → P → Prop)
    (trans : (x y z : P) → le x y → le y z → le x z)
    (measure : S → P) (x y z : S)
    (strict : le (measure y) (measure x) → Absurd)
    (yz : le (measure y) (measure z)) (zx : le (measure z) (measure x)) : Absurd :=
  strict (trans (measure y) (measure z) (measure x) yz zx)

-- The telemetry instance: rows that have a gain, a persistence and a diversity in any number system
-- whose order is transitive. Which sum and difference are meant does not matter to the argument.
theorem telemetry (S : Type u) (Q : Type v) (gain persistence diversity : S → Q)
    (add sub : Q → Q → Q) (le : Q → Q → Prop)
    (trans : (x y z : Q) → le x y → le y z → le x z) (x y z : S)
    (strict : le (sub (add (gain y) (persistence y)) (diversity y))
                 (sub (add (gain x) (persistence x)) (diversity x)) → Absurd)
    (yz : le (sub (add (gain y) (persistence y)) (diversity y))
             (sub (add (gain z) (persistence z)) (diversity z)))
    (zx : le (sub (add (gain z) (persistence z)) (diversity z))
             (sub (add (gain x) (persistence x)) (diversity x))) : Absurd :=
  bridge S Q le trans
    (fun row => sub (add (gain row) (persistence row)) (diversity row)) x y z strict yz zx

#print axioms bridge
#print axioms telemetry
