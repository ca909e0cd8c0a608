"""A whole cluster of one node, with the chart and the image as they are delivered."""
