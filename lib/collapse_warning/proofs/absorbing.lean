-- A miss that changes nothing is never left (ours): for a deterministic engine whose state after a
-- miss is the state before it, every later step misses.
prelude

universe u

inductive Same {A : Type u} (x : A) : A → Prop where
  | refl : Same x x

inductive Steps : Type where
  | none : Steps
  | more (n : Steps) : Steps

-- The state after n steps of a deterministic engine.
noncomputable def after {S : Type u} (next : S → S) (start : S) (n : Steps) : S :=
  Steps.rec (motive := fun _ => S) start (fun _ state => next state) n

theorem transport {S : Type u} (holds : S → Prop) (x y : S) (same : Same x y) (at_x : holds x) :
    holds y :=
  Same.rec (motive := fun z _ => holds z) at_x same

theorem unchanged {S : Type u} (next : S → S) (misses : S → Prop)
    (frozen : (s : S) → misses s → Same s (next s))
    (s : S) (miss : misses s) (n : Steps) : Same s (after next s n) :=
  Steps.rec (motive := fun k => Same s (after next s k)) Same.refl
    (fun k known =>
      transport (fun t => Same s (next t)) s (after next s k) known (frozen s miss)) n

-- After one miss, every later step misses.
theorem absorbing {S : Type u} (next : S → S) (misses : S → Prop)
    (frozen : (s : S) → misses s → Same s (next s))
    (s : S) (miss : misses s) (n : Steps) : misses (after next s n) :=
  transport misses s (after next s n) (unchanged next misses frozen s miss n) miss

#print axioms absorbing
