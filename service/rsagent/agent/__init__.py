"""The episode: state, actions, stops, dialects, rendering, and the loop that drives them."""
