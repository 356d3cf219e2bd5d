"""Pictures of trajectories' scores: heat map, bars of groups, scores over time, rewards against returns."""

from narravid.evaluation.group_picture import group_bars
from narravid.evaluation.reward_picture import reward_scatter
from narravid.evaluation.timeline_picture import timeline_picture
from narravid.evaluation.trajectory_heat_map import score_heat_map

__all__ = ["group_bars", "reward_scatter", "score_heat_map", "timeline_picture"]
