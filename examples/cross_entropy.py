"""The cross-entropy method: search for a policy by drawing many, keeping the best and drawing around them.

De Boer et al., A Tutorial on the Cross-Entropy Method, 2005, doi 10.1007/s10479-005-5724-z. It needs nothing
but a number for each policy, so that any reward will do.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class CrossEntropyMethod:
    """A normal distribution over parameters that moves to those with the highest scores.

    Args:
        num_parameters: Size of what is searched, P.
        seed: Source of all draws.
        population: Candidates in a generation, N.
        num_elites: How many of them the next distribution is fitted to.
        first_std: Deviation of each parameter at the beginning, around 0.
        least_std: Deviation that is kept, so that the search does not stop before it has arrived.
    """

    def __init__(
        self,
        num_parameters: int,
        *,
        seed: int,
        population: int,
        num_elites: int,
        first_std: float = 1.0,
        least_std: float = 0.1,
    ) -> None:
        if not 1 < num_elites < population:
            raise ValueError(f"num_elites must lie between 1 and {population}, got {num_elites}")
        self.mean = np.zeros(num_parameters)
        self.std = np.full(num_parameters, first_std)
        self._generator = np.random.default_rng(seed)
        self._population = population
        self._num_elites = num_elites
        self._least_std = least_std

    def propose(self) -> FloatArray:
        """Candidates of the next generation, (N, P)."""
        noise = self._generator.standard_normal((self._population, len(self.mean)))
        return self.mean + self.std * noise

    def learn(self, candidates: FloatArray, scores: FloatArray) -> None:
        """Fit the distribution to the best.

        Args:
            candidates: (N, P), as proposed.
            scores: (N,), higher is better.
        """
        best = candidates[np.argsort(-scores, kind="stable")[: self._num_elites]]
        self.mean = best.mean(axis=0)
        self.std = np.maximum(best.std(axis=0), self._least_std)


class LinearPolicies:
    """Policies that answer an observation with tanh(W · observation + b), one for each environment.

    Args:
        observation_dim: Size of an observation, O.
        action_dim: Size of an action, A.
    """

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        self._shape = (action_dim, observation_dim + 1)

    @property
    def num_parameters(self) -> int:
        """P, weights and biases of one policy."""
        return self._shape[0] * self._shape[1]

    def act(self, parameters: FloatArray, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The actions of N policies.

        Args:
            parameters: (N, P), or (P,) for the same policy everywhere.
            observations: (N, O).

        Returns:
            (N, A) in [-1, 1].
        """
        weights = parameters.reshape(-1, *self._shape)
        with_bias = np.concatenate([observations, np.ones((len(observations), 1))], axis=1)
        return np.tanh((weights * with_bias[:, None]).sum(axis=2)).astype(np.float32)
